import { Button, NumberInput, Popover } from '@mantine/core';
import { useEffect, useState } from 'react';
import type { FacetCount } from '../../api';
import { Icon } from '../../components/Icon';
import { number } from '../../lib/words';
import { groupFacets, type FacetGroup } from './facetGroups';

const SHOWN = 6;

/** Narrow the results: genres with counts, and a range of years. */
export function Facets(props: {
  genres: FacetCount[];
  chosen: string[];
  from: number | undefined;
  to: number | undefined;
  onChange: (filters: { genre?: string[]; from?: number; to?: number }) => void;
}) {
  const { chosen, from, to } = props;
  const [all, setAll] = useState(false);
  const genres = groupFacets(props.genres, chosen);
  const isChosen = (facet: FacetGroup) => facet.values.some((value) => chosen.includes(value));
  const shown = genres.filter((facet, i) => all || i < SHOWN || isChosen(facet));
  const change = (facet: FacetGroup) => {
    const others = chosen.filter((value) => !facet.values.includes(value));
    const next = isChosen(facet) ? others : [...others, ...facet.values];
    props.onChange({ genre: next.length > 0 ? next : undefined, from, to });
  };
  const narrowed = chosen.length > 0 || from !== undefined || to !== undefined;
  return (
    <div className={all ? 'facets facets-all' : 'facets'} role="group" aria-label="Narrow the results">
      <Years from={from} to={to} onChange={(years) => props.onChange({ genre: chosen, ...years })} />
      {shown.map((facet) => (
        <button
          key={facet.label}
          type="button"
          className="facet"
          aria-pressed={isChosen(facet)}
          onClick={() => change(facet)}
        >
          {facet.label} <span className="facet-count">{number(facet.count)}</span>
        </button>
      ))}
      {genres.length > shown.length && (
        <button type="button" className="facet facet-plain" onClick={() => setAll(true)}>
          {genres.length - shown.length} more
        </button>
      )}
      {narrowed && (
        <button type="button" className="facet facet-plain" onClick={() => props.onChange({})}>
          <Icon name="close" size={14} /> Clear
        </button>
      )}
    </div>
  );
}

function Years(props: {
  from: number | undefined;
  to: number | undefined;
  onChange: (years: { from?: number; to?: number }) => void;
}) {
  const [opened, setOpened] = useState(false);
  const [from, setFrom] = useState<number | string>('');
  const [to, setTo] = useState<number | string>('');
  useEffect(() => {
    setFrom(props.from ?? '');
    setTo(props.to ?? '');
  }, [props.from, props.to, opened]);
  const active = props.from !== undefined || props.to !== undefined;
  const wrong = typeof from === 'number' && typeof to === 'number' && from > to;
  const label = !active
    ? 'Years'
    : props.from === undefined
      ? `until ${props.to}`
      : props.to === undefined
        ? `since ${props.from}`
        : `${props.from}–${props.to}`;
  return (
    <Popover opened={opened} onChange={setOpened} trapFocus returnFocus shadow="md" position="bottom-start">
      <Popover.Target>
        <button type="button" className="facet" data-active={active} onClick={() => setOpened(!opened)}>
          {label} <Icon name="chevron" size={14} />
        </button>
      </Popover.Target>
      <Popover.Dropdown aria-label="Years">
        <form
          className="years"
          onSubmit={(event) => {
            event.preventDefault();
            if (!wrong) {
              setOpened(false);
              props.onChange({
                from: typeof from === 'number' ? from : undefined,
                to: typeof to === 'number' ? to : undefined,
              });
            }
          }}
        >
          <NumberInput label="From" value={from} onChange={setFrom} min={1} max={9999} hideControls w={96} />
          <NumberInput
            label="To"
            value={to}
            onChange={setTo}
            min={1}
            max={9999}
            hideControls
            w={96}
            error={wrong ? 'before “From”' : undefined}
          />
          <Button type="submit">Apply</Button>
        </form>
      </Popover.Dropdown>
    </Popover>
  );
}
