import { displayName, shortName, useWho } from '../../lib/who';
import { useUsers } from '../../components/UserMenu';
import { EmptyState } from '../../components/Parts';
import { Data } from './Data';
import { EntityList } from './EntityList';
import { StoreSettings } from './StoreSettings';

/** What the service knows of one person, in their hands. */
export function StorePage() {
  const who = useWho();
  return (
    <div className="page">
      <title>My store · Attune</title>
      <h1>My store</h1>
      {who.name === undefined ? (
        <ChooseUser />
      ) : (
        <>
          <p className="lead">
            What Attune learned from the searches and visits of <strong>{displayName(who.name)}</strong>. Each line can
            be traced to what you did, and forgotten.
          </p>
          <div className="store-columns">
            <EntityList key={who.name} userId={who.name} />
            <aside className="store-side">
              <StoreSettings key={who.name} userId={who.name} />
              <Data key={`data ${who.name}`} userId={who.name} />
            </aside>
          </div>
        </>
      )}
    </div>
  );
}

function ChooseUser() {
  const who = useWho();
  const users = useUsers();
  const demo = users.data?.items.filter((user) => user.simulated).slice(0, 8) ?? [];
  return (
    <EmptyState title="A private session keeps nothing">
      <p>
        You are nobody at the moment, so there is no store to show. Choose who you are at the top right
        {demo.length > 0 ? ', or look at the store of one of the simulated people:' : '.'}
      </p>
      <ul className="chips">
        {demo.map((user) => (
          <li key={user.userId}>
            <button type="button" className="facet" onClick={() => who.change({ user: user.userId })}>
              {shortName(user.userId)} <span className="facet-count">simulated</span>
            </button>
          </li>
        ))}
      </ul>
    </EmptyState>
  );
}
