import { Link, Outlet, useRouter, type ErrorComponentProps } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { useKey } from '../lib/useKey';
import { useWho } from '../lib/who';
import { Icon } from './Icon';
import { EmptyState, ErrorNotice } from './Parts';
import { SchemeSwitch } from './SchemeSwitch';
import { Shortcuts } from './Shortcuts';
import { UserMenu } from './UserMenu';

/** Header, page, footer. */
export function Layout() {
  const { keep } = useWho();
  const [help, setHelp] = useState(false);
  useKey('?', () => setHelp(true));
  return (
    <>
      <a className="skip" href="#main">
        Skip to content
      </a>
      <header className="header">
        <div className="header-inner">
          <Link to="/" search={keep} className="brand" aria-label="Attune, search">
            <Logo />
            <span className="brand-name">Attune</span>
          </Link>
          <nav className="nav" aria-label="Pages">
            <Link to="/" search={keep} activeOptions={{ exact: true, includeSearch: false }}>
              Search
            </Link>
            <Link to="/store" search={keep} activeOptions={{ includeSearch: false }}>
              My store
            </Link>
            <Link to="/admin" search={keep} activeOptions={{ includeSearch: false }}>
              Admin
            </Link>
          </nav>
          <div className="header-tools">
            <SchemeSwitch />
            <button
              type="button"
              className="icon-button help-button"
              aria-label="Keyboard shortcuts"
              title="Keyboard shortcuts (?)"
              onClick={() => setHelp(true)}
            >
              ?
            </button>
            <UserMenu />
          </div>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <Outlet />
      </main>
      <Footer />
      <Shortcuts opened={help} onClose={() => setHelp(false)} />
    </>
  );
}

function Logo() {
  return (
    <svg aria-hidden="true" width="28" height="28" viewBox="0 0 32 32" className="logo">
      <rect width="32" height="32" rx="8" />
      <path d="M8 19v-6M12.700 22V10M17.300 20v-8M22 24V8" />
    </svg>
  );
}

function Footer() {
  return (
    <footer className="footer">
      <p>
        This product uses the TMDB API but is not endorsed or certified by TMDB. Film data: the movies data set of{' '}
        <a href="https://github.com/elastic/elasticsearch-labs" rel="noreferrer">
          elastic/elasticsearch-labs
        </a>{' '}
        (Apache-2.0), from <a href="https://www.themoviedb.org/" rel="noreferrer">TMDB</a>.
      </p>
      <p>
        <a href="/swagger-ui.html">API</a>
      </p>
    </footer>
  );
}

export function NotFound() {
  const { keep } = useWho();
  return (
    <div className="page">
      <title>Not found · Attune</title>
      <EmptyState title="There is no page here">
        <p>
          The address may be mistyped. <Link to="/" search={keep}>Go to search</Link>
        </p>
      </EmptyState>
    </div>
  );
}

export function Failure({ error }: ErrorComponentProps) {
  const router = useRouter();
  useEffect(() => console.error(error), [error]);
  return (
    <div className="page">
      <ErrorNotice error={error} retry={() => void router.invalidate()} />
      <p>
        <Icon name="arrow" /> If it stays, reload the page.
      </p>
    </div>
  );
}
