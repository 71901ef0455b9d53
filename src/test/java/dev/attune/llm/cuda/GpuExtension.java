package dev.attune.llm.cuda;

import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ExtensionContext.Namespace;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolver;

/**
 * Opens the GPU for the tests of a class, which take it in their constructor, and closes it after them; skips them
 * without one.
 */
final class GpuExtension implements BeforeAllCallback, ParameterResolver {

  private static final Namespace SPACE = Namespace.create(GpuExtension.class);

  @Override
  public void beforeAll(ExtensionContext context) {
    // The store closes what it holds when the class has ended.
    context.getStore(SPACE).put(Gpu.class, Gpu.open());
  }

  @Override
  public boolean supportsParameter(ParameterContext parameter, ExtensionContext context) {
    return parameter.getParameter().getType() == Gpu.class;
  }

  @Override
  public Gpu resolveParameter(ParameterContext parameter, ExtensionContext context) {
    return context.getStore(SPACE).get(Gpu.class, Gpu.class);
  }
}
