// Calls every operation through a client that ogen made, and prints the name of each that went well.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"example.com/rollcall/ogen/client"
)

// The answer of one operation, or a panic with what came instead.
func told[Answer any](operation string, answer any, err error) Answer {
	if err != nil {
		panic(operation + ": " + err.Error())
	}
	wanted, ok := answer.(Answer)
	if !ok {
		panic(fmt.Sprintf("%s: %T %+v", operation, answer, answer))
	}
	fmt.Println(operation)
	return wanted
}

func main() {
	ctx := context.Background()
	api, err := client.NewClient(os.Args[1])
	if err != nil {
		panic(err)
	}

	created, err := api.CreateUser(ctx, &client.NewUser{Name: "Ada", Surname: "Lovelace", Password: "correct horse battery", Email: client.NewOptNilString("ada@example.com"), Username: client.NewOptNilString("ada"), ExternalID: client.NewOptNilString("a-1")})
	id := told[*client.UserHeaders]("createUser", created, err).Response.ID
	read, err := api.GetUser(ctx, client.GetUserParams{ID: id})
	told[*client.UserViewHeaders]("getUser", read, err)
	byEmail, err := api.GetUserByEmail(ctx, client.GetUserByEmailParams{Email: "ada@example.com"})
	told[*client.UserViewHeaders]("getUserByEmail", byEmail, err)
	byUsername, err := api.GetUserByUsername(ctx, client.GetUserByUsernameParams{Username: "ada"})
	told[*client.UserViewHeaders]("getUserByUsername", byUsername, err)
	byExternalID, err := api.GetUserByExternalId(ctx, client.GetUserByExternalIdParams{ExternalID: "a-1"})
	told[*client.UserViewHeaders]("getUserByExternalId", byExternalID, err)
	found, err := api.LookUpUsers(ctx, &client.UserLookup{Ids: []int64{id}}, client.LookUpUsersParams{})
	if len(told[*client.FoundUsersHeaders]("lookUpUsers", found, err).Response.Users) != 1 {
		panic("the lookup found another number of users")
	}
	change := client.UserChange{Surname: client.NewOptNilString("King")}
	updated, err := api.UpdateUser(ctx, &change, client.UpdateUserParams{ID: id})
	if told[*client.UpdateUserOKHeaders]("updateUser", updated, err).Response.Surname != "King" {
		panic("the surname is the old one")
	}
	patch := client.PatchUserApplicationJSON(client.UserPatch{Locale: client.NewOptNilString("de")})
	patched, err := api.PatchUser(ctx, &patch, client.PatchUserParams{ID: id})
	if told[*client.UpdateUserOKHeaders]("patchUser", patched, err).Response.Locale.Value != "de" {
		panic("the locale is the old one")
	}
	page, err := api.ListUsers(ctx, client.ListUsersParams{PerPage: client.NewOptInt(100)})
	if len(told[*client.UserPageHeaders]("listUsers", page, err).Response.Users) < 1 {
		panic("the page is empty")
	}
	snapshot, err := api.GetUsersSnapshot(ctx)
	text(told[*client.GetUsersSnapshotOK]("getUsersSnapshot", snapshot, err))
	deleted, err := api.DeleteUser(ctx, client.DeleteUserParams{ID: id})
	told[*client.DeletionHeaders]("deleteUser", deleted, err)

	types := []client.EventType{client.EventTypeUserCreated, client.EventTypeUserDeleted}
	params := client.ListEventsParams{Limit: client.NewOptInt(1), UserID: client.NewOptInt64(id), Types: types, Wait: client.NewOptInt(10)}
	for seen := 0; seen < len(types); {
		events, err := api.ListEvents(ctx, params)
		some := told[*client.FeedPageHeaders]("listEvents", events, err).Response
		for _, event := range some.Events {
			if event.EventType != string(types[seen]) {
				panic(fmt.Sprint("another event was expected than ", event))
			}
			seen++
		}
		params.After = client.NewOptString(some.Next)
	}
	subscriptions, err := api.ListSubscriptions(ctx)
	name := told[*client.SubscriptionListHeaders]("listSubscriptions", subscriptions, err).Response.Subscriptions[0].Name
	letters, err := api.ListDeadLetters(ctx, client.ListDeadLettersParams{Name: name})
	told[*client.DeadLetterPageHeaders]("listDeadLetters", letters, err)
	attempts, err := api.ListFailedAttempts(ctx, client.ListFailedAttemptsParams{Name: name, TraceID: "none"})
	told[*client.FailedAttemptListHeaders]("listFailedAttempts", attempts, err)
	redriven, err := api.RedriveDeadLetter(ctx, client.RedriveDeadLetterParams{Name: name, ID: 1})
	told[*client.SubscriptionNotFoundOrDeadLetterNotFoundOrNotFoundHeaders]("redriveDeadLetter", redriven, err)
	erased, err := api.DeleteDeadLetter(ctx, client.DeleteDeadLetterParams{Name: name, ID: 1})
	told[*client.SubscriptionNotFoundOrDeadLetterNotFoundOrNotFoundHeaders]("deleteDeadLetter", erased, err)
	health, err := api.GetHealth(ctx)
	told[*client.HealthHeaders]("getHealth", health, err)
	ready, err := api.GetReady(ctx)
	told[*client.GetReadyOK]("getReady", ready, err)
	metrics, err := api.GetMetrics(ctx)
	text(told[*client.GetMetricsOK]("getMetrics", metrics, err))

	missing, err := api.GetUser(ctx, client.GetUserParams{ID: id})
	told[*client.UserNotFoundOrNotFoundHeaders]("getUser", missing, err)
}

func text(body io.Reader) {
	bytes, err := io.ReadAll(body)
	if err != nil || len(bytes) == 0 {
		panic("the text is empty")
	}
}
