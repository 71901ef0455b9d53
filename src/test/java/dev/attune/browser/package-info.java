/**
 * Journeys through the pages in a real Chromium, against the real service: search, one's own store, administration,
 * and how the pages look and sound to those who do not see them.
 */
@NullMarked
package dev.attune.browser;

import org.jspecify.annotations.NullMarked;
