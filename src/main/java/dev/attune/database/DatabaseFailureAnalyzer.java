package dev.attune.database;

import org.springframework.boot.diagnostics.AbstractFailureAnalyzer;
import org.springframework.boot.diagnostics.FailureAnalysis;

class DatabaseFailureAnalyzer extends AbstractFailureAnalyzer<DatabaseException> {

  @Override
  protected FailureAnalysis analyze(Throwable rootFailure, DatabaseException cause) {
    return new FailureAnalysis(
        cause.getMessage(),
        "Correct what the message names, or use a PostgreSQL of your own: spring.datasource.url, "
            + "spring.datasource.username and spring.datasource.password.",
        cause);
  }
}
