// The chat page in Chromium, from end to end: built once, served as a static host would. Cases are in the files beside this one.
import { findChromium, launchChromium, type RangeServer, type ServedFile } from '@duobit/testkit/chromium';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, vi } from 'vitest';
import { accessCases } from './access-cases.ts';
import { chatCases } from './chat-cases.ts';
import { failureCases } from './failure-cases.ts';
import { panelCases } from './panel-cases.ts';
import { buildSite, eventually, type Stand, startSite, Visit } from './site.ts';

/** SwiftShader is slow on a machine that is busy. */
vi.setConfig({ testTimeout: 400_000 });

const command = findChromium();

describe.skipIf(!command)('the chat page in Chromium', () => {
  let browser: Browser;
  let server: RangeServer;
  let site: ReadonlyMap<string, ServedFile>;
  const visits: Visit[] = [];
  const stand: Stand = {
    get site() {
      return site;
    },
    get server() {
      return server;
    },
    get browser() {
      return browser;
    },
    async open(query, options = {}) {
      const visit = await Visit.open(browser, server, { ...options, query });
      visits.push(visit);
      return visit;
    },
  };

  beforeAll(async () => {
    [site, browser] = await Promise.all([buildSite(), launchChromium(command!, { webgpu: true })]);
    server = await startSite(site);
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });
  beforeEach(() => {
    server.reset();
    return async () => {
      for (const visit of visits.splice(0)) await visit.close();
      // One that is still being answered would take of what the next test's faults allow.
      await eventually(() => server.openRequests()).toEqual([]);
    };
  });

  describe('chatting', () => chatCases(stand));
  describe('when things go wrong', () => failureCases(stand));
  describe('panels', () => panelCases(stand));
  describe('for everybody', () => accessCases(stand));
});
