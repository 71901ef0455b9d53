package dev.attune.knowledge;

import dev.attune.searchlog.UserLogs;
import dev.attune.web.Problems;
import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.tags.Tag;
import java.io.OutputStream;
import java.time.Clock;
import java.util.UUID;
import org.springframework.http.ContentDisposition;
import org.springframework.http.HttpHeaders;
import org.springframework.http.MediaType;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.DeleteMapping;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.servlet.mvc.method.annotation.StreamingResponseBody;
import tools.jackson.core.JsonGenerator;
import tools.jackson.databind.json.JsonMapper;

@RestController
@RequestMapping("/api/v1")
@Tag(name = "A user's own store")
class UserDataController {

  private static final int PAGE = 200;

  private final UserLogs logs;
  private final KnowledgeStores stores;
  private final UserKnowledge users;
  private final Erasure erasure;
  private final JsonMapper json;
  private final Clock clock;

  UserDataController(UserLogs logs, KnowledgeStores stores, UserKnowledge users, Erasure erasure, JsonMapper json,
      Clock knowledgeClock) {
    this.logs = logs;
    this.stores = stores;
    this.users = users;
    this.erasure = erasure;
    this.json = json;
    this.clock = knowledgeClock;
  }

  @Operation(summary = "All that is held of the user, as a JSON file",
      description = "settings, entities and forgotten entities of the store, and the search log as UBI items.")
  @GetMapping(path = "/users/{userId}/export", produces = MediaType.APPLICATION_JSON_VALUE)
  ResponseEntity<StreamingResponseBody> export(@PathVariable String userId) {
    UserStoreController.checked(userId);
    return ResponseEntity.ok()
        .contentType(MediaType.APPLICATION_JSON)
        .header(HttpHeaders.CONTENT_DISPOSITION,
            ContentDisposition.attachment().filename("attune-export.json").build().toString())
        .body(output -> write(userId, output));
  }

  private void write(String userId, OutputStream output) {
    try (JsonGenerator generator = json.createGenerator(output)) {
      generator.writeStartObject();
      generator.writeStringProperty("userId", userId);
      generator.writeStringProperty("exportedAt", clock.instant().toString());
      generator.writePOJOProperty("settings", UserStoreController.Settings.of(users.settings(userId)));
      generator.writeArrayPropertyStart("entities");
      KnowledgeStores.EntityPage page;
      int number = 0;
      do {
        page = stores.entities(userId, null, null, KnowledgeStores.EntitySort.INTEREST, number++, PAGE);
        page.entities().forEach(entity -> generator.writePOJO(UserStoreController.EntityAnswer.of(entity)));
      } while (page.entities().size() == PAGE);
      generator.writeEndArray();
      generator.writePOJOProperty("forgottenEntities", stores.forgotten(userId));
      generator.writeArrayPropertyStart("searchLog");
      logs.export(userId, generator::writePOJO);
      generator.writeEndArray();
      generator.writeEndObject();
    }
  }

  @Operation(summary = "Erase the user everywhere", description = "The receipt does not say who was erased.")
  @DeleteMapping("/users/{userId}")
  ErasureReceipt erase(@PathVariable String userId) {
    return erasure.erase(UserStoreController.checked(userId));
  }

  @Operation(summary = "Receipt of an erasure")
  @GetMapping("/erasures/{receiptId}")
  ErasureReceipt receipt(@PathVariable UUID receiptId) {
    return erasure.receipt(receiptId).orElseThrow(() -> Problems.notFound("erasure", receiptId.toString()));
  }
}
