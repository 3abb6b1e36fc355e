// Calls every operation through a client that oapi-codegen made, and prints the name of each that went well.
package main

import (
	"context"
	"fmt"
	"os"

	"example.com/rollcall/oapi/client"
)

func must[Answer any](answer Answer, err error) Answer {
	if err != nil {
		panic(err)
	}
	return answer
}

func told[Body any](operation string, body *Body, raw []byte) Body {
	if body == nil {
		panic(operation + ": " + string(raw))
	}
	fmt.Println(operation)
	return *body
}

func main() {
	ctx := context.Background()
	api := must(client.NewClientWithResponses(os.Args[1]))

	email, name := "ada@example.com", "ada"
	created := must(api.CreateUserWithResponse(ctx, client.NewUser{Name: "Ada", Surname: "Lovelace", Password: "correct horse battery", Email: &email, Username: &name, ExternalId: &name}))
	user := told("createUser", created.JSON201, created.Body)
	read := must(api.GetUserWithResponse(ctx, user.Id, nil))
	told("getUser", read.JSON200, read.Body)
	byEmail := must(api.GetUserByEmailWithResponse(ctx, email, nil))
	told("getUserByEmail", byEmail.JSON200, byEmail.Body)
	byUsername := must(api.GetUserByUsernameWithResponse(ctx, name, nil))
	told("getUserByUsername", byUsername.JSON200, byUsername.Body)
	byExternalID := must(api.GetUserByExternalIdWithResponse(ctx, name, nil))
	told("getUserByExternalId", byExternalID.JSON200, byExternalID.Body)
	found := must(api.LookUpUsersWithResponse(ctx, nil, client.UserLookup{Ids: &[]int64{user.Id}}))
	if len(told("lookUpUsers", found.JSON200, found.Body).Users) != 1 {
		panic("the lookup found another number of users")
	}
	surname := "King"
	updated := must(api.UpdateUserWithResponse(ctx, user.Id, nil, client.UserChange{Surname: &surname}))
	if told("updateUser", updated.JSON200, updated.Body).Surname != surname {
		panic("the surname is the old one")
	}
	locale := "de"
	patched := must(api.PatchUserWithResponse(ctx, user.Id, nil, client.UserPatch{Locale: &locale}))
	if *told("patchUser", patched.JSON200, patched.Body).Locale != locale {
		panic("the locale is the old one")
	}
	perPage := 100
	page := must(api.ListUsersWithResponse(ctx, &client.ListUsersParams{PerPage: &perPage}))
	if listed := told("listUsers", page.JSON200, page.Body); *listed.Total < 1 || len(listed.Users) < 1 {
		panic("the page is empty")
	}
	snapshot := must(api.GetUsersSnapshotWithResponse(ctx))
	told("getUsersSnapshot", &snapshot.Body, nil)
	deleted := must(api.DeleteUserWithResponse(ctx, user.Id, nil))
	told("deleteUser", deleted.JSON200, deleted.Body)

	types := []client.EventType{client.UserCreated, client.UserDeleted}
	limit, wait := 1, 10
	var after *string
	for seen := 0; seen < len(types); {
		params := client.ListEventsParams{After: after, Limit: &limit, UserId: &user.Id, Types: &types, Wait: &wait}
		events := must(api.ListEventsWithResponse(ctx, &params))
		some := told("listEvents", events.JSON200, events.Body)
		for _, event := range some.Events {
			if event.EventType != string(types[seen]) || event.Data["user_id"] != float64(user.Id) {
				panic(fmt.Sprint("another event was expected than ", event))
			}
			seen++
		}
		after = &some.Next
	}
	subscriptions := must(api.ListSubscriptionsWithResponse(ctx))
	subscription := told("listSubscriptions", subscriptions.JSON200, subscriptions.Body).Subscriptions[0].Name
	letters := must(api.ListDeadLettersWithResponse(ctx, subscription, nil))
	told("listDeadLetters", letters.JSON200, letters.Body)
	attempts := must(api.ListFailedAttemptsWithResponse(ctx, subscription, &client.ListFailedAttemptsParams{TraceId: "none"}))
	told("listFailedAttempts", attempts.JSON200, attempts.Body)
	redriven := must(api.RedriveDeadLetterWithResponse(ctx, subscription, 1))
	told("redriveDeadLetter", redriven.ApplicationproblemJSON404, redriven.Body)
	erased := must(api.DeleteDeadLetterWithResponse(ctx, subscription, 1))
	told("deleteDeadLetter", erased.ApplicationproblemJSON404, erased.Body)
	health := must(api.GetHealthWithResponse(ctx))
	told("getHealth", health.JSON200, health.Body)
	ready := must(api.GetReadyWithResponse(ctx))
	told("getReady", ready.JSON200, ready.Body)
	metrics := must(api.GetMetricsWithResponse(ctx))
	told("getMetrics", &metrics.Body, nil)

	missing := must(api.GetUserWithResponse(ctx, user.Id, nil))
	if missing.ApplicationproblemJSON404 == nil || missing.ApplicationproblemJSON404.Code != "user_not_found" {
		panic("a deleted user is no problem: " + string(missing.Body))
	}
}
