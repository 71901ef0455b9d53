package dev.attune.entity;

/**
 * A stretch of text that names an entity.
 *
 * @param start offset of the first UTF-16 unit in the text
 * @param end offset after the last UTF-16 unit
 * @param surface the text between them
 * @param entityId the entity that was chosen
 * @param confidence in [0,1]; comparable within one knowledge base only
 */
public record Mention(int start, int end, String surface, String entityId, double confidence) {}
