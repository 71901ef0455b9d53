import { Link, Outlet } from '@tanstack/react-router';
import { useWho } from '../../lib/who';

const PAGES = [
  ['/admin', 'Overview'],
  ['/admin/users', 'Users'],
  ['/admin/jobs', 'Jobs'],
  ['/admin/models', 'Models'],
  ['/admin/knowledge', 'Knowledge'],
  ['/admin/quality', 'Quality'],
] as const;

export function AdminLayout() {
  const { keep } = useWho();
  return (
    <div className="page">
      <h1>Admin</h1>
      <nav className="tabs" aria-label="Administration">
        {PAGES.map(([to, label]) => (
          <Link key={to} to={to} search={keep} activeOptions={{ exact: to === '/admin', includeSearch: false }}>
            {label}
          </Link>
        ))}
      </nav>
      <Outlet />
    </div>
  );
}
