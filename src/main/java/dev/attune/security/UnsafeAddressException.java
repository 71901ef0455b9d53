package dev.attune.security;

/** Local mode was asked to listen where others can connect. */
final class UnsafeAddressException extends RuntimeException {

  private static final long serialVersionUID = 1;

  UnsafeAddressException(String property, String address) {
    super(
        "attune.security.mode=local has no login, but " + property + " would let others connect (" + address + ").");
  }
}
