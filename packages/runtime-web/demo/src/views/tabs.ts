// Which panel is shown beside the chat; on a narrow screen the chat is one of them.
import type { Controller } from '../controller.ts';
import { h, part, replace } from '../dom.ts';
import { PANELS, type Panel, type State } from '../state.ts';
import type { Store } from '../store.ts';

const NAMES: Readonly<Record<Panel, string>> = {
  chat: 'Chat',
  model: 'Model',
  sampling: 'Sampling',
  bits: 'Bits',
  storage: 'Storage',
};

/** Where the chat and a panel stand side by side; as in layout.css. */
const WIDE = matchMedia('(min-width: 60rem)');

/** @param panels a view for every panel but the chat, which has the page's main part */
export function createTabs(
  store: Store<State>,
  controller: Controller,
  panels: Readonly<Record<Exclude<Panel, 'chat'>, HTMLElement>>,
): void {
  const tabs = PANELS.map((panel) =>
    h(
      'button',
      {
        type: 'button',
        role: 'tab',
        id: `tab-${panel}`,
        'aria-controls': panel === 'chat' ? 'chat' : `panel-${panel}`,
        onclick: () => controller.showPanel(panel),
      },
      NAMES[panel],
    ),
  );
  const list = h('div', { role: 'tablist', 'aria-label': 'Panels', onkeydown: move }, ...tabs);
  replace(part('tabs'), list);
  replace(
    part('side'),
    ...Object.entries(panels).map(([name, content]) =>
      h('section', { role: 'tabpanel', id: `panel-${name}`, 'aria-labelledby': `tab-${name}` }, content),
    ),
  );

  const show = (panel: Panel): void => {
    // Beside the chat there is always a panel.
    const shown = WIDE.matches && panel === 'chat' ? 'model' : panel;
    document.body.dataset.panel = shown;
    for (const [i, tab] of tabs.entries()) {
      const isShown = PANELS[i] === shown;
      tab.setAttribute('aria-selected', String(isShown));
      tab.tabIndex = isShown ? 0 : -1;
    }
    for (const name of Object.keys(panels)) part(`panel-${name}`).hidden = name !== shown;
  };
  store.watch(({ panel }) => panel, show);
  WIDE.addEventListener('change', () => show(store.state.panel));

  /** Arrows go from tab to tab, as the pattern for tabs has it. */
  function move(event: KeyboardEvent): void {
    const shown = tabs.filter(({ offsetParent }) => offsetParent !== null);
    const at = shown.indexOf(document.activeElement as HTMLButtonElement);
    const targets: Readonly<Record<string, number>> = {
      ArrowRight: at + 1,
      ArrowLeft: at - 1,
      Home: 0,
      End: shown.length - 1,
    };
    const to = targets[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const tab = shown[(to + shown.length) % shown.length]!;
    tab.click();
    tab.focus();
  }
}
