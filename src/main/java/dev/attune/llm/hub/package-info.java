/**
 * Downloads models from a hub that speaks Hugging Face's HTTP interface: resumed after cuts, checked against the hub's
 * checksums. The hub's address is the operator's choice; there is no default.
 */
@NullMarked
package dev.attune.llm.hub;

import org.jspecify.annotations.NullMarked;
