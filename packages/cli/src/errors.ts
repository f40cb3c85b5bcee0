/** The codes of this package; documented in `docs/errors.md`. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type CliErrorCode =
  | 'CLI_COMMAND_UNKNOWN'
  | 'CLI_CREDENTIALS_MISSING'
  | 'CLI_OPTION_UNKNOWN'
  | 'CLI_OPTION_VALUE_MISSING'
  | 'CLI_OPTION_VALUE_INVALID'
  | 'CLI_OPERANDS_WRONG'
  | 'CLI_DATE_INVALID'
  | 'CLI_FEATURE_MISSING'
  | 'CLI_WORKING_DIRECTORY_GONE';

export const cliError: ErrorFactory<CliErrorCode> = defineErrors<CliErrorCode>({
  CLI_COMMAND_UNKNOWN: { kind: 'usage', meaning: 'There is no command of this name.' },
  CLI_CREDENTIALS_MISSING: { kind: 'denied', meaning: 'Neither the environment nor a profile has the keys that a store needs.' },
  CLI_OPTION_UNKNOWN: { kind: 'usage', meaning: 'The command has no option of this name.' },
  CLI_OPTION_VALUE_MISSING: { kind: 'usage', meaning: 'An option that needs a value was given none.' },
  CLI_OPTION_VALUE_INVALID: { kind: 'usage', meaning: 'The value of an option is not of its kind.' },
  CLI_OPERANDS_WRONG: { kind: 'usage', meaning: 'The command was given too few or too many arguments.' },
  CLI_DATE_INVALID: { kind: 'usage', meaning: 'A text is not a date or time in a known form.' },
  CLI_WORKING_DIRECTORY_GONE: { kind: 'not-found', meaning: 'The directory in which the command was started does not exist any more.' },
  CLI_FEATURE_MISSING: { kind: 'usage', meaning: 'The option is known but not available in this version.' },
});
