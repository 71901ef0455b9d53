package dev.attune.web;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Iterator;
import java.util.NoSuchElementException;
import org.jspecify.annotations.Nullable;

/** Items of a body, each read when it is asked for. */
abstract class JsonItems implements Iterator<JsonItem> {

  private @Nullable JsonItem next;
  private boolean ended;

  /** The next item, or null at the end. */
  abstract @Nullable JsonItem read() throws IOException;

  /** Nothing is read after the present item. */
  final void end() {
    ended = true;
  }

  @Override
  public final boolean hasNext() {
    if (next == null && !ended) {
      try {
        next = read();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      ended |= next == null;
    }
    return next != null;
  }

  @Override
  public final JsonItem next() {
    JsonItem item = hasNext() ? next : null;
    if (item == null) {
      throw new NoSuchElementException();
    }
    next = null;
    return item;
  }
}
