package dev.attune.web;

import java.util.List;

/**
 * One page of a list.
 *
 * @param total items over all pages
 * @param page from 0
 */
public record PagedList<T>(long total, int page, int size, List<T> items) {}
