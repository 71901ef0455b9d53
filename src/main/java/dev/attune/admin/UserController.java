package dev.attune.admin;

import dev.attune.searchlog.SearchLog;
import dev.attune.web.PagedList;
import dev.attune.web.Problems;
import jakarta.validation.constraints.Max;
import jakarta.validation.constraints.Min;
import org.jspecify.annotations.Nullable;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** All users, and single ones. */
@RestController
@RequestMapping("/api/v1/admin/users")
class UserController {

  private final UserDirectory users;

  UserController(UserDirectory users) {
    this.users = users;
  }

  @GetMapping
  PagedList<UserDirectory.UserRow> users(
      @RequestParam(defaultValue = "-lastSeen") String sort,
      @RequestParam(required = false) @Nullable String q,
      @RequestParam(defaultValue = "0") @Min(0) @Max(1_000_000) int page,
      @RequestParam(defaultValue = "50") @Min(1) @Max(500) int size) {
    return users.page(sort, q == null ? null : Problems.checkText("q", q, SearchLog.MAX_ID), page, size);
  }

  @GetMapping("/{userId}")
  UserDirectory.UserDetail user(@PathVariable String userId) {
    return users.find(userId);
  }

  /**
   * Makes two ids one user: items of the first, stored ones and those to come, count for the second. Once done, it
   * answers the same again, with no items moved.
   */
  @PostMapping("/{fromUserId}/merge/{intoUserId}")
  UserDirectory.Merged merge(@PathVariable String fromUserId, @PathVariable String intoUserId) {
    return users.merge(fromUserId, intoUserId);
  }
}
