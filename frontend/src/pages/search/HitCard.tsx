import { Link } from '@tanstack/react-router';
import { useId, useState } from 'react';
import type { FieldValue, Hit, Why } from '../../api';
import { Events } from '../../components/Events';
import { Icon } from '../../components/Icon';
import { ModeMark, Poster, RankChange, Snippet } from '../../components/Parts';
import { count, list } from '../../lib/words';
import type { SearchParams } from '../../router';

/** Values of a field as texts. */
export function values(field: FieldValue | undefined): string[] {
  return field === undefined ? [] : (Array.isArray(field) ? field : [field]).map(String);
}

export function HitCard(props: {
  hit: Hit;
  ranked: boolean;
  userId: string | undefined;
  onOpen: (hit: Hit) => void;
  open: boolean;
}) {
  const { hit } = props;
  const titleId = useId();
  const year = values(hit.fields.year)[0];
  const director = values(hit.fields.director);
  const genres = values(hit.fields.genres).slice(0, 3);
  return (
    <li data-flip={hit.id} className={props.open ? 'hit hit-open' : 'hit'}>
      <article aria-labelledby={titleId}>
        <Poster key={hit.image} title={hit.title} image={hit.image} />
        <div className="hit-body">
          <div className="hit-head">
            <h2 id={titleId}>
              <Link
                to="/"
                search={(before: SearchParams) => ({ ...before, doc: hit.id })}
                className="hit-link"
                data-hit
                resetScroll={false}
                onClick={() => props.onOpen(hit)}
              >
                {hit.title}
              </Link>
            </h2>
            {year && <span className="hit-year">{year}</span>}
            <RankChange change={props.ranked ? hit.retrievalRank - hit.rank : null} words={moved(hit)} />
          </div>
          <p className="hit-snippet">
            <Snippet html={hit.snippet} />
          </p>
          {(genres.length > 0 || director.length > 0) && (
            <ul className="chips" aria-label="About it">
              {director.length > 0 && <li className="chip chip-strong">by {list(director)}</li>}
              {genres.map((genre) => (
                <li key={genre} className="chip">
                  {genre}
                </li>
              ))}
            </ul>
          )}
          {hit.why.length > 0 && props.userId !== undefined && <WhyLine why={hit.why} userId={props.userId} />}
        </div>
      </article>
    </li>
  );
}

/** How ranking moved a hit, in words. */
function moved({ rank, retrievalRank }: Hit): string {
  const places = Math.abs(retrievalRank - rank);
  const direction = rank < retrievalRank ? 'up' : 'down';
  return `${direction} ${count(places, 'place')} by ranking: retrieval had it at ${retrievalRank}`;
}

function WhyLine({ why, userId }: { why: Why[]; userId: string }) {
  const [open, setOpen] = useState(false);
  const id = useId();
  return (
    <div className="why">
      <button type="button" aria-expanded={open} aria-controls={id} onClick={() => setOpen(!open)}>
        <Icon name="person" size={14} />
        <span>For you: {list(why.map((reason) => reason.label))}</span>
        <Icon name="chevron" size={14} />
      </button>
      <div id={id} hidden={!open} className="why-reasons">
        {open &&
          why.map((reason) => (
            <section key={reason.entityId} aria-label={reason.label}>
              <p>
                <strong>{reason.label}</strong> <ModeMark mode={reason.mode} />
              </p>
              <Events userId={userId} entityId={reason.entityId} only={reason.events} />
            </section>
          ))}
      </div>
    </div>
  );
}
