package dev.attune.datadir;

import org.springframework.boot.diagnostics.AbstractFailureAnalyzer;
import org.springframework.boot.diagnostics.FailureAnalysis;

class DataDirectoryFailureAnalyzer extends AbstractFailureAnalyzer<DataDirectoryException> {

  @Override
  protected FailureAnalysis analyze(Throwable rootFailure, DataDirectoryException cause) {
    return new FailureAnalysis(
        cause.getMessage(),
        "Stop the other service, or set attune.data-dir to a directory that this account can write to and that"
            + " no other service uses.",
        cause);
  }
}
