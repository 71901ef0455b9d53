package dev.attune.searchlog;

import java.util.Locale;
import java.util.Set;

/** What is known about the actions that UBI and its samples name. Clients may send any other. */
final class UbiAction {

  /** The user turned to the object. */
  private static final Set<String> VISITS =
      Set.of(
          "click", "click_through", "item_click", "product_click", "view", "view_item", "page_view", "watch", "read",
          "add_to_cart", "add_to_wishlist", "favorite", "like", "purchase", "download");

  /** The object was only shown, turned down, or stands for a part of the page. */
  private static final Set<String> OTHERS =
      Set.of(
          "impression", "search", "on_search", "view_search_results", "type_filter", "brand_filter", "filter",
          "product_sort", "sort", "product_hover", "hover", "global_click", "declined_product", "dislike",
          "remove_from_cart", "page_exit", "user_feedback", "404_redirect", "login", "logout");

  private UbiAction() {}

  static boolean isKnown(String action) {
    String name = action.toLowerCase(Locale.ROOT);
    return VISITS.contains(name) || OTHERS.contains(name);
  }

  /** Actions that nobody has named yet count as visits: a client logs what it thinks matters. */
  static boolean isVisit(String action) {
    return !OTHERS.contains(action.toLowerCase(Locale.ROOT));
  }
}
