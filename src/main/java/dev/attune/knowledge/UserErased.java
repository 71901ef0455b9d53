package dev.attune.knowledge;

/** Published after a user's data was deleted from the database: caches and files must drop what they hold of them. */
public record UserErased(String userId) {}
