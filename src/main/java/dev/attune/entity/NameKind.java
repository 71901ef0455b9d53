package dev.attune.entity;

/** How a name belongs to an entity. */
enum NameKind {
  /** Its label or an alias. */
  FULL,
  /** A word made from it: "French" for France. */
  DERIVED,
  /** A telling part of its label: "Villeneuve". */
  PART,
  /** What a person's name starts with. */
  GIVEN;

  private static final NameKind[] ALL = values();

  static NameKind of(int ordinal) {
    return ALL[ordinal];
  }
}
