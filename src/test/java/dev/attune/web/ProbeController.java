package dev.attune.web;

import jakarta.validation.Valid;
import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.NotBlank;
import java.io.InputStream;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.springframework.context.annotation.Profile;
import org.springframework.http.MediaType;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** A resource that exists in tests alone, to see how bad requests are answered. */
@RestController
@Profile("test")
@RequestMapping("/api/v1/probe")
class ProbeController {

  private final JsonItemReader items;

  ProbeController(JsonItemReader items) {
    this.items = items;
  }

  record Question(
      @NotBlank String query, @Nullable @Max(500) Integer size, @Nullable Kind kind, @Nullable List<Part> parts) {}

  record Part(int number) {}

  enum Kind {
    SMALL,
    LARGE
  }

  @PostMapping(consumes = MediaType.APPLICATION_JSON_VALUE)
  Question ask(@Valid @RequestBody Question question) {
    return question;
  }

  @GetMapping
  int sized(@RequestParam @Max(10) int size) {
    return size;
  }

  @GetMapping("/{id}")
  String find(@PathVariable String id) {
    if (id.equals("broken")) {
      throw new IllegalStateException("secret of the inside");
    }
    throw Problems.notFound("probe", id);
  }

  @PostMapping("/items")
  long count(InputStream body) {
    return items.read(body).count();
  }
}
