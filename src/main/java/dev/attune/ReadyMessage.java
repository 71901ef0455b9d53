package dev.attune;

import java.net.InetAddress;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.autoconfigure.condition.ConditionalOnWebApplication;
import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.boot.web.server.autoconfigure.ServerProperties;
import org.springframework.boot.web.server.context.WebServerApplicationContext;
import org.springframework.context.event.EventListener;
import org.springframework.stereotype.Component;

/** Tells on the console where the service can be reached. */
@Component
@ConditionalOnWebApplication
class ReadyMessage {

  private final ServerProperties server;

  ReadyMessage(ServerProperties server) {
    this.server = server;
  }

  @EventListener
  void ready(ApplicationReadyEvent event) {
    if (event.getApplicationContext() instanceof WebServerApplicationContext web && web.getWebServer() != null) {
      boolean tls = server.getSsl() != null && server.getSsl().isEnabled();
      String url = (tls ? "https://" : "http://") + host(server.getAddress()) + ":" + web.getWebServer().getPort();
      System.out.printf(
          "%nAttune is ready after %.1f s%n  Search  %s/%n  Admin   %s/admin%n  API     %s/swagger-ui.html%n%n",
          event.getTimeTaken().toMillis() / 1000.0, url, url, url);
    }
  }

  private static String host(@Nullable InetAddress address) {
    if (address == null || address.isLoopbackAddress() || address.isAnyLocalAddress()) {
      return "localhost";
    }
    return address.getHostAddress();
  }
}
