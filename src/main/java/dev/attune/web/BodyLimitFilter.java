package dev.attune.web;

import jakarta.servlet.FilterChain;
import jakarta.servlet.ReadListener;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletInputStream;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletRequestWrapper;
import jakarta.servlet.http.HttpServletResponse;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.Set;
import org.springframework.http.HttpStatus;
import org.springframework.stereotype.Component;
import org.springframework.web.filter.OncePerRequestFilter;

/** Ends requests whose body is longer than allowed, by its announced length at once, otherwise while it is read. */
@Component
class BodyLimitFilter extends OncePerRequestFilter {

  private static final Set<String> BULK = Set.of("/api/v1/documents", "/api/v1/events", "/api/v1/admin/kb");

  private final WebProperties properties;
  private final ProblemWriter problems;

  BodyLimitFilter(WebProperties properties, ProblemWriter problems) {
    this.properties = properties;
    this.problems = problems;
  }

  @Override
  protected void doFilterInternal(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
      throws ServletException, IOException {
    boolean bulk = BULK.contains(request.getRequestURI());
    long limit = (bulk ? properties.maxBulkBody() : properties.maxBody()).toBytes();
    String property = bulk ? "attune.web.max-bulk-body" : "attune.web.max-body";
    if (request.getContentLengthLong() > limit) {
      problems.write(
          response, HttpStatus.CONTENT_TOO_LARGE, new BodyTooLargeException(limit, property).getMessage());
      return;
    }
    chain.doFilter(new Limited(request, limit, property), response);
  }

  private static final class Limited extends HttpServletRequestWrapper {
    private final long limit;
    private final String property;

    Limited(HttpServletRequest request, long limit, String property) {
      super(request);
      this.limit = limit;
      this.property = property;
    }

    @Override
    public ServletInputStream getInputStream() throws IOException {
      return new LimitedStream(super.getInputStream(), limit, property);
    }

    @Override
    public BufferedReader getReader() throws IOException {
      Charset charset =
          getCharacterEncoding() == null ? StandardCharsets.UTF_8 : Charset.forName(getCharacterEncoding());
      return new BufferedReader(new InputStreamReader(getInputStream(), charset));
    }
  }

  private static final class LimitedStream extends ServletInputStream {
    private final ServletInputStream in;
    private final long limit;
    private final String property;
    private long read;

    LimitedStream(ServletInputStream in, long limit, String property) {
      this.in = in;
      this.limit = limit;
      this.property = property;
    }

    @Override
    public int read() throws IOException {
      int c = in.read();
      count(c == -1 ? 0 : 1);
      return c;
    }

    @Override
    public int read(byte[] buffer, int offset, int length) throws IOException {
      int n = in.read(buffer, offset, length);
      count(Math.max(0, n));
      return n;
    }

    private void count(int bytes) throws BodyTooLargeException {
      read += bytes;
      if (read > limit) {
        throw new BodyTooLargeException(limit, property);
      }
    }

    @Override
    public boolean isFinished() {
      return in.isFinished();
    }

    @Override
    public boolean isReady() {
      return in.isReady();
    }

    @Override
    public void setReadListener(ReadListener listener) {
      in.setReadListener(listener);
    }
  }
}
