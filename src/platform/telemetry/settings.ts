// Settings of log and metrics.

import { Type } from '../runtime/schema.ts';
import { Formed } from '../runtime/settings.ts';
import { codeVersion } from '../runtime/version.ts';

export const settings = {
  LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    normalise: (text: string) => text.toLowerCase(),
    default: 'info',
    description: 'Lines below this level are not written. Upper case is accepted.',
  }),
  DEBUG: Type.Boolean({ default: false, description: '`true` is short for `LOG_LEVEL=debug`.' }),
  APP_NAME: Formed('^[\\w.-]{1,64}$', 'be 1 to 64 of the characters A-Z a-z 0-9 _ . -', {
    default: 'rollcall',
    description: 'Name in logs, events and metrics.',
  }),
  APP_VERSION: Formed('^[\\w.+-]{1,64}$', 'be 1 to 64 of the characters A-Z a-z 0-9 _ . + -', {
    default: codeVersion,
    description: 'Version in logs, metrics and the OpenAPI document. Left out: that of the package.',
  }),
};
