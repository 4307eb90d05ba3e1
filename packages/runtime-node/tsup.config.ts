import { library } from '../../tsup.base.ts';

export default library({ index: 'src/index.ts', 'device-probe': 'src/devices/device-probe.ts' });
