package dev.attune.admin;

import dev.attune.llm.Admission;
import dev.attune.search.SearchBody;
import dev.attune.search.SearchRequest;
import dev.attune.search.Simulator;
import dev.attune.web.Problems;
import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.tags.Tag;
import jakarta.servlet.http.HttpServletRequest;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;

/** Shows an administrator what a user would get. That somebody looked is audited, with the user as its subject. */
@RestController
@Tag(name = "Administration")
class SimulationController {

  private final Simulator simulator;
  private final UserDirectory users;
  private final AuditInterceptor audit;

  SimulationController(Simulator simulator, UserDirectory users, AuditInterceptor audit) {
    this.simulator = simulator;
    this.users = users;
    this.audit = audit;
  }

  @PostMapping("/api/v1/admin/simulate")
  @Operation(
      summary = "Run search and suggestions as a user, without leaving a trace",
      description =
          "The body is that of a search, with userId. Answers what the user would get and what somebody unknown would, "
              + "each with the exact prompts and the attention that every document was given. Nothing is logged, "
              + "learned, counted or kept ready; the audit log says that the user was looked at. Unless budgetMs is "
              + "given, attune.search.simulation-budget holds, so that unread documents are ranked as well. 404 for a "
              + "user whom the log does not know, 429 while another simulation runs.")
  Simulator.Simulation simulate(@RequestBody SearchBody body, HttpServletRequest http) {
    SearchRequest request = body.toRequest();
    String userId = request.userId();
    if (userId == null) {
      throw Problems.badField("userId", "is missing; it says whose answer is simulated");
    }
    // In this order: the id of somebody who was erased, or of nobody, does not get into the audit log.
    users.checkKnown(userId);
    audit.concerns(http, userId);
    try {
      return simulator.simulate(request);
    } catch (Admission.BusyException e) {
      throw Problems.tooManyRequests(e.getMessage() + ".", e.retryAfter());
    }
  }
}
