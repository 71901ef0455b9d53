import { useId } from 'react';
import type { RankingPrompt, Simulated } from '../../api';
import { count, number } from '../../lib/words';

type Both = { name: string; asUser: Simulated; withoutUser: Simulated };

const share = (attention: number | null | undefined) =>
  attention === null || attention === undefined ? '–' : `${(100 * attention).toFixed(1)} %`;

/** Where the query's attention went, document by document, most attended to first. */
export function Attention({ name, asUser, withoutUser }: Both) {
  const id = useId();
  const prompt = asUser.rankingPrompt ?? withoutUser.rankingPrompt;
  if (prompt === null) {
    return null;
  }
  const mine = attentionOf(asUser.rankingPrompt);
  const others = attentionOf(withoutUser.rankingPrompt);
  const most = Math.max(...prompt.documents.map(({ id: document }) => mine.get(document) ?? 0), 1e-9);
  const rows = prompt.documents
    .map((document, i) => ({ document, found: i + 1 }))
    .sort((a, b) => (mine.get(b.document.id) ?? -1) - (mine.get(a.document.id) ?? -1));
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>Attention per document</h2>
      <p className="dim small">
        Share of the attention at layer {prompt.layer} that {count(prompt.signals.length, 'token')} of the query (
        {prompt.signals.map((signal) => `“${signal.trim()}”`).join(' ')}) paid to each document. Open a title to see its
        block.
      </p>
      <div className="table-wrap" tabIndex={0} role="region" aria-label="Table: attention per document">
        <table className="table">
          <thead>
            <tr>
              <th scope="col">Document</th>
              <th scope="col" className="numeric">
                Found at
              </th>
              <th scope="col" className="numeric">
                As {name}
              </th>
              <th scope="col" className="numeric">
                Without the user
              </th>
              <th scope="col" className="numeric">
                Tokens
              </th>
              <th scope="col">Read before</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ document, found }) => (
              <tr key={document.id}>
                <th scope="row">
                  <details>
                    <summary>{document.title}</summary>
                    <pre className="prompt">{document.text}</pre>
                  </details>
                </th>
                <td className="numeric">{found}</td>
                <td className="numeric">
                  {share(mine.get(document.id))}
                  <span className="attention" aria-hidden="true">
                    <span style={{ width: `${(100 * (mine.get(document.id) ?? 0)) / most}%` }} />
                  </span>
                </td>
                <td className="numeric">{share(others.get(document.id))}</td>
                <td className="numeric">
                  {document.keptTokens === document.tokens
                    ? number(document.tokens)
                    : `${number(document.keptTokens)} of ${number(document.tokens)}`}
                </td>
                <td>{document.warm ? 'yes' : 'no'}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function attentionOf(prompt: RankingPrompt | null): Map<string | null, number | null> {
  return new Map(prompt?.documents.map((document) => [document.id, document.attention]));
}

/** The prompts as the model was given them. */
export function Prompts({ name, asUser, withoutUser }: Both) {
  return (
    <section>
      <h2>Prompts</h2>
      <Ranking title={`Ranking as ${name}`} prompt={asUser.rankingPrompt} />
      <Ranking title="Ranking without the user" prompt={withoutUser.rankingPrompt} />
      <Suggestion title={`Suggestions as ${name}`} of={asUser} />
      <Suggestion title="Suggestions without the user" of={withoutUser} />
    </section>
  );
}

function Ranking({ title, prompt }: { title: string; prompt: RankingPrompt | null }) {
  if (prompt === null) {
    return <p className="dim">{title}: no model took part.</p>;
  }
  const read = prompt.documents.filter((document) => document.attention !== null).length;
  return (
    <details className="prompt-details">
      <summary>
        {title}, {count(prompt.tokens, 'token')}
      </summary>
      <pre className="prompt">{prompt.instruction.text}</pre>
      <p className="dim small">
        Then {count(read, 'document')}, each a block of its own that sees the one above and itself (in the table), and
        last, seeing everything:
      </p>
      <pre className="prompt">{prompt.last.text}</pre>
    </details>
  );
}

function Suggestion({ title, of }: { title: string; of: Simulated }) {
  const prompt = of.suggestionPrompt;
  if (prompt === null) {
    return <p className="dim">{title}: no model took part.</p>;
  }
  return (
    <details className="prompt-details">
      <summary>
        {title}, {count(prompt.continuations.length, 'continuation')}
      </summary>
      <pre className="prompt">{prompt.shared}</pre>
      <p className="dim small">Read once. Behind it, for each suggestion to be written:</p>
      {prompt.continuations.map((continuation, i) => (
        <pre key={i} className="prompt">
          {continuation.text}
        </pre>
      ))}
    </details>
  );
}
