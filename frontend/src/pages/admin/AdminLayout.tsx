import { Link, Outlet, useLocation } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';
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
  const { pathname } = useLocation();
  const tabs = useRef<HTMLElement>(null);
  // On a narrow screen the tabs do not fit: the page's own is to be seen.
  useEffect(() => {
    tabs.current?.querySelector('.active')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  }, [pathname]);
  return (
    <div className="page">
      <h1>Admin</h1>
      <nav ref={tabs} className="tabs" aria-label="Administration">
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
