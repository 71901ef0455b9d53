package dev.attune.security;

import org.springframework.boot.diagnostics.AbstractFailureAnalyzer;
import org.springframework.boot.diagnostics.FailureAnalysis;

class UnsafeAddressFailureAnalyzer extends AbstractFailureAnalyzer<UnsafeAddressException> {

  @Override
  protected FailureAnalysis analyze(Throwable rootFailure, UnsafeAddressException cause) {
    return new FailureAnalysis(
        cause.getMessage(),
        "Use 127.0.0.1, or attune.security.mode=oidc, or set attune.security.trusted-network=true if everybody who can"
            + " reach that address may do everything (for example a container whose port is published on loopback).",
        cause);
  }
}
