package dev.attune.web;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.springframework.context.annotation.Configuration;
import org.springframework.core.io.Resource;
import org.springframework.http.CacheControl;
import org.springframework.web.servlet.config.annotation.ResourceHandlerRegistry;
import org.springframework.web.servlet.config.annotation.ViewControllerRegistry;
import org.springframework.web.servlet.config.annotation.WebMvcConfigurer;
import org.springframework.web.servlet.resource.PathResourceResolver;

/**
 * The single-page application: files under {@code static/}, and its {@code index.html} for every path that is a page
 * of the application rather than a file or a resource of the API.
 */
@Configuration(proxyBeanMethods = false)
class PagesConfiguration implements WebMvcConfigurer {

  private static final List<String> NOT_PAGES = List.of("api", "v1", "v3", "actuator", "swagger-ui", "assets", "error");

  @Override
  public void addResourceHandlers(ResourceHandlerRegistry registry) {
    // Vite puts a hash of the content into these names.
    registry
        .addResourceHandler("/assets/**")
        .addResourceLocations("classpath:/static/assets/")
        .setCacheControl(CacheControl.maxAge(Duration.ofDays(365)).cachePublic().immutable());
    registry
        .addResourceHandler("/**")
        .addResourceLocations("classpath:/static/")
        .setCacheControl(CacheControl.noCache())
        .resourceChain(true)
        .addResolver(new PageResolver());
  }

  @Override
  public void addViewControllers(ViewControllerRegistry registry) {
    registry.addViewController("/").setViewName("forward:/index.html");
  }

  private static final class PageResolver extends PathResourceResolver {
    @Override
    protected @Nullable Resource getResource(String path, Resource location) throws IOException {
      Resource file = super.getResource(path, location);
      if (file != null || !isPage(path)) {
        return file;
      }
      return super.getResource("index.html", location);
    }

    private static boolean isPage(String path) {
      // Further down a dot is part of an id (/admin/users/ana@example.org); files lie at the top or in assets.
      boolean top = !path.contains("/");
      String firstStep = top ? path : path.substring(0, path.indexOf('/'));
      return !(top && path.contains(".")) && !NOT_PAGES.contains(firstStep);
    }
  }
}
