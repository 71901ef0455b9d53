package dev.attune.search;

/** Nobody waits for the answer any more. */
final class SearchCancelledException extends RuntimeException {

  private static final long serialVersionUID = 1;

  SearchCancelledException() {
    super("search cancelled");
  }
}
