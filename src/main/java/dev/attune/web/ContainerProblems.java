package dev.attune.web;

import java.io.IOException;
import java.io.Writer;
import java.util.List;
import java.util.Objects;
import org.apache.catalina.connector.Request;
import org.apache.catalina.connector.Response;
import org.apache.catalina.core.StandardHost;
import org.apache.catalina.valves.ErrorReportValve;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.boot.tomcat.ConfigurableTomcatWebServerFactory;
import org.springframework.boot.web.server.WebServerFactoryCustomizer;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.stereotype.Component;
import tools.jackson.databind.json.JsonMapper;

/** What Tomcat refuses before it asks the service, an address that it cannot read for example, is a problem as well. */
@Component
class ContainerProblems implements WebServerFactoryCustomizer<ConfigurableTomcatWebServerFactory> {

  private static final Logger log = LoggerFactory.getLogger(ContainerProblems.class);
  private static final String UNREADABLE =
      "The request cannot be read. In its address, letters beyond ASCII, spaces and marks such as { and | must be "
          + "percent-encoded; its path cannot hold an encoded slash, backslash or zero character.";

  private final JsonMapper json;

  ContainerProblems(JsonMapper json) {
    this.json = json;
  }

  @Override
  public void customize(ConfigurableTomcatWebServerFactory factory) {
    factory.addContextCustomizers(context -> {
      StandardHost host = (StandardHost) context.getParent();
      host.getPipeline().addValve(new Reports());
      // Otherwise it adds its page, with a stack trace, where the setting include-stacktrace asks for it.
      host.setErrorReportValveClass("");
    });
  }

  /** In the place of Tomcat's page in HTML. */
  private final class Reports extends ErrorReportValve {

    @Override
    protected void report(Request request, Response response, @Nullable Throwable failure) {
      int code = response.getStatus();
      if (code < 400 || response.getContentWritten() > 0 || !response.setErrorReported()) {
        return;
      }
      HttpStatus status = Objects.requireNonNullElse(HttpStatus.resolve(code), HttpStatus.INTERNAL_SERVER_ERROR);
      String detail = status == HttpStatus.BAD_REQUEST ? UNREADABLE : null;
      try {
        response.setContentType(MediaType.APPLICATION_PROBLEM_JSON_VALUE);
        response.setCharacterEncoding("utf-8");
        Writer writer = response.getReporter();
        if (writer != null) {
          writer.write(json.writeValueAsString(Problems.problem(status, detail, List.of())));
          response.finishResponse();
        }
      } catch (IOException e) {
        log.debug("The client left before it was told of status {}", code, e);
      }
    }
  }
}
