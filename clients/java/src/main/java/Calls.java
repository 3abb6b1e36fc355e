import client.ApiClient;
import client.ApiException;
import client.api.EventsApi;
import client.api.HealthApi;
import client.api.SubscriptionsApi;
import client.api.UsersApi;
import client.model.Event;
import client.model.EventType;
import client.model.FeedPage;
import client.model.NewUser;
import client.model.User;
import client.model.UserChange;
import client.model.UserLookup;
import client.model.UserPatch;
import java.util.List;

/** Calls every operation through the generated client, and prints the name of each that went well. */
public class Calls {
  public static void main(String[] arguments) throws ApiException {
    ApiClient api = new ApiClient();
    api.updateBaseUri(arguments[0]);
    UsersApi users = new UsersApi(api);
    EventsApi events = new EventsApi(api);
    SubscriptionsApi subscriptions = new SubscriptionsApi(api);
    HealthApi health = new HealthApi(api);

    User created = users.createUser(new NewUser().name("Ada").surname("Lovelace").password("correct horse battery").email("ada@example.com").username("ada").externalId("a-1"));
    Long id = created.getId();
    done("createUser", created.getCreatedAt() != null);
    done("getUser", users.getUser(id, null, null).getName().equals("Ada"));
    done("getUserByEmail", users.getUserByEmail("ada@example.com", null, null).getId().equals(id));
    done("getUserByUsername", users.getUserByUsername("ada", null, null).getId().equals(id));
    done("getUserByExternalId", users.getUserByExternalId("a-1", null, null).getId().equals(id));
    done("lookUpUsers", users.lookUpUsers(new UserLookup().addIdsItem(id), null).getUsers().size() == 1);
    done("updateUser", users.updateUser(id, new UserChange().surname("King"), null).getSurname().equals("King"));
    done("patchUser", users.patchUser(id, new UserPatch().locale("de"), null).getLocale().equals("de"));
    done("listUsers", !users.listUsers(1L, 100, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null).getUsers().isEmpty());
    done("getUsersSnapshot", events.getUsersSnapshot().length() > 0);
    done("deleteUser", !users.deleteUser(id, null).getMessage().isEmpty());

    List<EventType> types = List.of(EventType.USER_CREATED, EventType.USER_DELETED);
    String after = null;
    for (int seen = 0; seen < types.size(); ) {
      FeedPage page = events.listEvents(after, 1, id, types, 10);
      for (Event event : page.getEvents()) {
        done("listEvents", event.getEventType().equals(types.get(seen).getValue()));
        seen += 1;
      }
      after = page.getNext();
    }
    String name = subscriptions.listSubscriptions().getSubscriptions().get(0).getName();
    done("listSubscriptions", !name.isEmpty());
    done("listDeadLetters", subscriptions.listDeadLetters(name, null, 10).getDeadLetters() != null);
    done("listFailedAttempts", subscriptions.listFailedAttempts("none", name, 10).getFailedAttempts().isEmpty());
    done("redriveDeadLetter", isMissing(() -> subscriptions.redriveDeadLetter(name, 1L)));
    done("deleteDeadLetter", isMissing(() -> subscriptions.deleteDeadLetter(name, 1L)));
    done("getHealth", health.getHealth().getStatus() != null);
    done("getReady", health.getReady().getStatus().equals("ready"));
    done("getMetrics", health.getMetrics().contains("rollcall_"));
    try {
      users.getUser(id, null, null);
      throw new IllegalStateException("a deleted user is still there");
    } catch (ApiException error) {
      if (error.getCode() != 404) throw error;
    }
  }

  private interface Call {
    void run() throws ApiException;
  }

  private static boolean isMissing(Call call) throws ApiException {
    try {
      call.run();
      return false;
    } catch (ApiException error) {
      if (error.getCode() != 404) throw error;
      return true;
    }
  }

  private static void done(String operation, boolean isRight) {
    if (!isRight) throw new IllegalStateException(operation + " gave something else");
    System.out.println(operation);
  }
}
