import type { FacetCount } from '../../api';

/** Values of a facet that differ in case alone, as one choice. */
export interface FacetGroup {
  label: string;
  values: string[];
  count: number;
}

/**
 * Most frequent first; chosen values stay even where nothing matches them any more. The sum of counts is exact when no
 * document spells one value in two ways.
 */
export function groupFacets(facets: FacetCount[], chosen: string[]): FacetGroup[] {
  const groups = new Map<string, FacetGroup>();
  for (const { value, count } of [...facets, ...chosen.map((value) => ({ value, count: 0 }))]) {
    const key = value.toLowerCase();
    const group = groups.get(key);
    if (group) {
      group.count += count;
      if (!group.values.includes(value)) {
        group.values.push(value);
      }
    } else {
      groups.set(key, { label: value.charAt(0).toUpperCase() + value.slice(1), values: [value], count });
    }
  }
  return [...groups.values()].sort((a, b) => b.count - a.count);
}
