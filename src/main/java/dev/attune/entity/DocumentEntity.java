package dev.attune.entity;

import org.jspecify.annotations.Nullable;

/**
 * One value of a document field, as an entity.
 *
 * @param position order in the document; the main row is 0
 * @param entityId {@code type:name} or, for the main row, {@code type:document id}
 * @param main whether it stands for the document itself
 * @param relation the field
 * @param nameKey {@link TextTokens#nameKey} of the label
 * @param description of the document; main row only
 * @param popularity of the document; main row only
 */
record DocumentEntity(
    String documentId,
    int position,
    String entityId,
    boolean main,
    String relation,
    String type,
    String label,
    String nameKey,
    @Nullable String description,
    @Nullable Double popularity) {}
