package dev.attune.entity;

import java.util.List;

/** Finds the entities that a text names. Thread-safe; a call sees one consistent state of the knowledge base. */
public interface EntityLinker {

  /**
   * Links the longest, non-overlapping mentions of a text.
   *
   * @param text a query or a page of any length; empty text has no mentions
   * @return mentions in the order of the text; mentions below the NIL threshold are left out
   */
  List<Mention> link(String text, LinkContext context);
}
