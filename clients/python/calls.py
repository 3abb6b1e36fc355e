"""Calls every operation with bodies and answers of the generated models, and prints the name of each that went well."""

import json
import sys
import urllib.error
import urllib.request

import models

base = sys.argv[1]


def call(operation, method, path, model=None, body=None):
    data = None if body is None else body.model_dump_json(exclude_none=True).encode()
    request = urllib.request.Request(base + path, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request) as response:
        text = response.read().decode()
    answer = text if model is None else model.model_validate_json(text)
    print(operation)
    return answer


user = call("createUser", "POST", "/users/", models.User, models.NewUser(name="Ada", surname="Lovelace", password="correct horse battery", email="ada@example.com", username="ada", external_id="a-1"))
path = f"/users/{user.id}"
call("getUser", "GET", path, models.UserView)
for operation, place in [("getUserByEmail", "by-email/ada@example.com"), ("getUserByUsername", "by-username/ada"), ("getUserByExternalId", "by-external-id/a-1")]:
    assert call(operation, "GET", f"/users/{place}", models.UserView).id == user.id
assert call("lookUpUsers", "POST", "/users/lookup", models.FoundUsers, models.UserLookup(ids=[user.id])).users
assert call("updateUser", "PUT", path, models.User, models.UserChange(surname="King")).surname == "King"
assert call("patchUser", "PATCH", path, models.User, models.UserPatch(locale="de")).locale == "de"
assert call("listUsers", "GET", "/users/?per_page=100", models.UserPage).users
assert "cursor" in json.loads(call("getUsersSnapshot", "GET", "/users/snapshot").splitlines()[0])
call("deleteUser", "DELETE", path, models.Deletion)

types = [type.value for type in (models.EventType.user_created, models.EventType.user_deleted)]
seen, after = [], ""
while len(seen) < len(types):
    query = f"limit=1&wait=10&user_id={user.id}&types={','.join(types)}{after}"
    page = call("listEvents", "GET", f"/events/?{query}", models.FeedPage)
    seen += [event.event_type for event in page.events]
    after = f"&after={page.next}"
assert seen == types, seen

name = call("listSubscriptions", "GET", "/subscriptions/", models.SubscriptionList).subscriptions[0].name
call("listDeadLetters", "GET", f"/subscriptions/{name}/dead-letters", models.DeadLetterPage)
call("listFailedAttempts", "GET", f"/subscriptions/{name}/failed-attempts?trace_id=none", models.FailedAttemptList)
for operation, method, suffix in [("redriveDeadLetter", "POST", "/redrive"), ("deleteDeadLetter", "DELETE", "")]:
    try:
        call(operation, method, f"/subscriptions/{name}/dead-letters/1{suffix}")
        raise SystemExit("a dead letter is there")
    except urllib.error.HTTPError as error:
        assert models.Problem.model_validate_json(error.read()).code == "dead_letter_not_found"
        print(operation)

call("getHealth", "GET", "/health", models.Health)
call("getReady", "GET", "/ready", models.Readiness)
assert "rollcall_" in call("getMetrics", "GET", "/metrics")
try:
    call("getUser", "GET", path)
    raise SystemExit("a deleted user is still there")
except urllib.error.HTTPError as error:
    assert models.Problem.model_validate_json(error.read()).code == "user_not_found"
