package dev.attune.security;

import java.net.InetAddress;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.web.server.autoconfigure.ServerProperties;
import org.springframework.core.env.Environment;

/** Refuses to start a service without login on an address that others can reach. */
final class LoopbackOnly {

  LoopbackOnly(SecurityProperties properties, ServerProperties server, Environment environment) {
    if (properties.trustedNetwork()) {
      return;
    }
    check("server.address", server.getAddress());
    // Only a management server of its own has an own address.
    if (environment.getProperty("management.server.port") != null) {
      check(
          "management.server.address", environment.getProperty("management.server.address", InetAddress.class));
    }
  }

  private static void check(String property, @Nullable InetAddress address) {
    if (address == null || !address.isLoopbackAddress()) {
      throw new UnsafeAddressException(property, address == null ? "all interfaces" : address.getHostAddress());
    }
  }
}
