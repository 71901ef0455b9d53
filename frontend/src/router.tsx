import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from '@tanstack/react-router';
import { Layout, Failure, NotFound } from './components/Layout';
import { parseSearch, stringifySearch } from './lib/url';
import { SearchPage } from './pages/search/SearchPage';

/** How much of the user a search may use; `private` sends nothing about them at all. */
export type Privacy = 'on' | 'history' | 'off' | 'private';

/** Who searches, in the address of every page. */
export interface Who {
  user?: string;
  p?: Exclude<Privacy, 'on'>;
}

export interface SearchParams extends Who {
  q?: string;
  genre?: string[];
  from?: number;
  to?: number;
  doc?: string;
}

type Raw = Record<string, unknown>;

const text = (value: unknown) => (typeof value === 'string' && value.trim() !== '' ? value : undefined);
const texts = (value: unknown) => {
  const list = (Array.isArray(value) ? value : [value]).filter((one): one is string => text(one) !== undefined);
  return list.length > 0 ? list : undefined;
};
const year = (value: unknown) => {
  const number = Number(text(value) ?? (typeof value === 'number' ? value : NaN));
  return Number.isInteger(number) && number > 0 && number < 10_000 ? number : undefined;
};

function who(raw: Raw): Who {
  const p = raw.p === 'history' || raw.p === 'off' || raw.p === 'private' ? raw.p : undefined;
  return { user: text(raw.user), p };
}

const root = createRootRoute({ component: Layout, notFoundComponent: NotFound, errorComponent: Failure });

const searchRoute = createRoute({
  getParentRoute: () => root,
  path: '/',
  validateSearch: (raw: Raw): SearchParams => ({
    q: text(raw.q),
    ...who(raw),
    genre: texts(raw.genre),
    from: year(raw.from),
    to: year(raw.to),
    doc: text(raw.doc),
  }),
  component: SearchPage,
});

const storeRoute = createRoute({
  getParentRoute: () => root,
  path: '/store',
  validateSearch: who,
  component: lazyRouteComponent(() => import('./pages/store/StorePage'), 'StorePage'),
});

const adminRoute = createRoute({
  getParentRoute: () => root,
  path: '/admin',
  validateSearch: who,
  component: lazyRouteComponent(() => import('./pages/admin/AdminLayout'), 'AdminLayout'),
});

const overviewRoute = createRoute({
  getParentRoute: () => adminRoute,
  path: '/',
  component: lazyRouteComponent(() => import('./pages/admin/Overview'), 'Overview'),
});

const usersRoute = createRoute({
  getParentRoute: () => adminRoute,
  path: '/users',
  component: lazyRouteComponent(() => import('./pages/admin/Users'), 'Users'),
});

const userRoute = createRoute({
  getParentRoute: () => adminRoute,
  path: '/users/$userId',
  component: lazyRouteComponent(() => import('./pages/admin/UserStore'), 'UserStore'),
});

const simulateRoute = createRoute({
  getParentRoute: () => adminRoute,
  path: '/users/$userId/simulate',
  component: lazyRouteComponent(() => import('./pages/admin/Simulate'), 'Simulate'),
});

const jobsRoute = createRoute({
  getParentRoute: () => adminRoute,
  path: '/jobs',
  component: lazyRouteComponent(() => import('./pages/admin/Jobs'), 'Jobs'),
});

const modelsRoute = createRoute({
  getParentRoute: () => adminRoute,
  path: '/models',
  component: lazyRouteComponent(() => import('./pages/admin/ModelsPage'), 'ModelsPage'),
});

const knowledgeRoute = createRoute({
  getParentRoute: () => adminRoute,
  path: '/knowledge',
  component: lazyRouteComponent(() => import('./pages/admin/Knowledge'), 'Knowledge'),
});

const qualityRoute = createRoute({
  getParentRoute: () => adminRoute,
  path: '/quality',
  component: lazyRouteComponent(() => import('./pages/admin/QualityPage'), 'QualityPage'),
});

export const router = createRouter({
  routeTree: root.addChildren([
    searchRoute,
    storeRoute,
    adminRoute.addChildren([
      overviewRoute,
      usersRoute,
      userRoute,
      simulateRoute,
      jobsRoute,
      modelsRoute,
      knowledgeRoute,
      qualityRoute,
    ]),
  ]),
  parseSearch,
  stringifySearch,
  defaultPreload: 'intent',
  scrollRestoration: true,
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
