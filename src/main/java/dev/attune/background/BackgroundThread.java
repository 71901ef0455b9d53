package dev.attune.background;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Locale;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Threads for work that nobody waits for. On Linux they get the lowest priority of the operating system (nice 19),
 * which leaves the processor to others whenever they want it; Java's own thread priorities have no effect there.
 *
 * <p>For computing alone: threads that such a thread starts inherit its priority, among them carriers of virtual
 * threads when it wakes one (by unlocking, say) and pools of native libraries when its call is the first.
 */
public final class BackgroundThread {

  private static final Logger log = LoggerFactory.getLogger(BackgroundThread.class);
  private static final int PRIO_PROCESS = 0;
  private static final int LOWEST = 19;

  private BackgroundThread() {}

  /** A daemon thread, not started. */
  public static Thread of(String name, Runnable work) {
    return Thread.ofPlatform()
        .name(name)
        .daemon()
        .priority(Thread.MIN_PRIORITY)
        .unstarted(
            () -> {
              yieldToOthers();
              work.run();
            });
  }

  /** On Linux a thread has a priority of its own, and 0 names the calling one. */
  private static void yieldToOthers() {
    if (!System.getProperty("os.name", "").toLowerCase(Locale.ROOT).startsWith("linux")) {
      return;
    }
    try {
      Linker linker = Linker.nativeLinker();
      SymbolLookup library = linker.defaultLookup();
      MethodHandle setPriority =
          linker.downcallHandle(
              library.findOrThrow("setpriority"),
              FunctionDescriptor.of(
                  ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));
      int outcome = (int) setPriority.invokeExact(PRIO_PROCESS, 0, LOWEST);
      if (outcome != 0) {
        log.debug("The priority of {} could not be lowered", Thread.currentThread().getName());
      }
    } catch (Throwable e) {
      // Work at an ordinary priority is work all the same.
      log.debug("The priority of {} could not be lowered", Thread.currentThread().getName(), e);
    }
  }
}
