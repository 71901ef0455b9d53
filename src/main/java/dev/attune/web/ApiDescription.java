package dev.attune.web;

import io.swagger.v3.oas.annotations.OpenAPIDefinition;
import io.swagger.v3.oas.annotations.info.Info;
import org.springframework.context.annotation.Configuration;

/** What {@code /v3/api-docs} says of the API as a whole. */
@Configuration(proxyBeanMethods = false)
@OpenAPIDefinition(
    info =
        @Info(
            title = "Attune",
            version = "v1",
            description = "Personal search, ranking in context and query suggestions. Errors are RFC 9457 problems."))
class ApiDescription {}
