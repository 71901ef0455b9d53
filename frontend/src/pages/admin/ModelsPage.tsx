import { useQuery } from '@tanstack/react-query';
import * as api from '../../api';
import { ErrorNotice, Skeletons } from '../../components/Parts';
import { number } from '../../lib/words';

/** The models that rank and suggest. */
export function ModelsPage() {
  const models = useQuery({
    queryKey: ['admin', 'models'],
    queryFn: ({ signal }) => api.models(signal),
    refetchInterval: (query) => (query.state.data?.some((model) => model.state === 'loading') ? 2_000 : false),
  });
  return (
    <>
      <title>Models · Attune</title>
      {models.isPending && <Skeletons rows={1} className="skeleton-hit" />}
      {models.isError && <ErrorNotice error={models.error} retry={() => void models.refetch()} />}
      {models.data?.map((model) => (
        <section key={model.source} className="card" aria-label={model.name ?? model.source}>
          <div className="job-head">
            <h2>{model.name ?? 'No model'}</h2>
            <span className={`state state-${model.state}`}>{model.state}</span>
          </div>
          {model.message && model.state !== 'ready' && <p className="notice notice-degraded">{model.message}</p>}
          <dl className="fields">
            <div>
              <dt>Source</dt>
              <dd className="break">{model.source}</dd>
            </div>
            {model.backend && (
              <div>
                <dt>Backend</dt>
                <dd>{model.backend}</dd>
              </div>
            )}
            {Object.entries(model.shape ?? {}).map(([name, value]) => (
              <div key={name}>
                <dt>{words(name)}</dt>
                <dd>{typeof value === 'number' ? number(value) : String(value)}</dd>
              </div>
            ))}
            {model.adapters.map((adapter) => (
              <div key={adapter.role}>
                <dt>Adapter for {adapter.role.toLowerCase()}</dt>
                <dd className="break">{adapter.active ? adapter.source : `none: ${adapter.message}`}</dd>
              </div>
            ))}
            {model.fingerprint && (
              <div>
                <dt>Fingerprint</dt>
                <dd className="break">{model.fingerprint}</dd>
              </div>
            )}
          </dl>
        </section>
      ))}
    </>
  );
}

const WORDS: Record<string, string> = { kvHeads: 'KV heads', ropeTheta: 'RoPE base', ropeScaling: 'RoPE scaling' };

/** hiddenSize → Hidden size */
function words(name: string): string {
  const known = WORDS[name];
  if (known !== undefined) {
    return known;
  }
  const spaced = name.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}
