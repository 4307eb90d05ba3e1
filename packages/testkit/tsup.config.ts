import { library } from '../../tsup.base.ts';

export default library({ index: 'src/index.ts', chromium: 'src/chromium/index.ts', hub: 'src/hub/index.ts' });
