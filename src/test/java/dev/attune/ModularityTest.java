package dev.attune;

import org.junit.jupiter.api.Test;
import org.springframework.modulith.core.ApplicationModules;

/** The rooms of the service call each other only as their package-info allows, and without cycles. */
class ModularityTest {

  @Test
  void roomsStayApart() {
    ApplicationModules.of(AttuneApplication.class).verify();
  }
}
