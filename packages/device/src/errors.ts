/** The codes of this package; documented in `docs/errors.md`. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type DeviceErrorCode =
  | 'DEVICE_NOT_AN_APP'
  | 'DEVICE_APP_MOUNTED'
  | 'DEVICE_APP_UNKNOWN'
  | 'DEVICE_APP_IN_USE'
  | 'DEVICE_NAME_INVALID'
  | 'DEVICE_IDS_UNMAPPED'
  | 'DEVICE_STATE_INVALID'
  | 'DEVICE_STORAGE_CONF_INVALID'
  | 'DEVICE_STORAGE_DRIVER'
  | 'DEVICE_STORE_REFUSED'
  | 'DEVICE_STORE_UNSEEN'
  | 'DEVICE_PODMAN_MISSING'
  | 'DEVICE_PODMAN_FAILED';

export const deviceError: ErrorFactory<DeviceErrorCode> = defineErrors<DeviceErrorCode>({
  DEVICE_NOT_AN_APP: { kind: 'input', meaning: 'A commit does not hold a packed app: /storage, /precompose.json and one app directory.' },
  DEVICE_APP_MOUNTED: { kind: 'exists', meaning: 'An app of this name is mounted already, from another commit.' },
  DEVICE_APP_UNKNOWN: { kind: 'not-found', meaning: 'No app of this name is mounted.' },
  DEVICE_APP_IN_USE: { kind: 'busy', meaning: 'Containers still use the image store or the files of an app.' },
  DEVICE_NAME_INVALID: { kind: 'usage', meaning: 'A name for an app holds characters other than letters, digits, dot, dash and underscore, or is "storage".' },
  DEVICE_IDS_UNMAPPED: { kind: 'environment', meaning: 'A file of an image belongs to a user or group that the user namespace does not have.' },
  DEVICE_STATE_INVALID: {
    kind: 'environment',
    meaning: 'The directory for mounted apps cannot be used: podman cannot list its path, or something else is in it.',
  },
  DEVICE_STORAGE_CONF_INVALID: { kind: 'input', meaning: 'storage.conf cannot be edited: its additionalimagestores is not a plain list of strings.' },
  DEVICE_STORAGE_DRIVER: { kind: 'environment', meaning: 'podman keeps its storage with a driver that cannot use additional image stores.' },
  DEVICE_STORE_REFUSED: { kind: 'input', meaning: 'podman cannot read the image store of an app; it was not registered.' },
  DEVICE_STORE_UNSEEN: { kind: 'environment', meaning: 'podman does not see the images of an app although storage.conf lists them; it was not registered.' },
  DEVICE_PODMAN_MISSING: { kind: 'environment', meaning: 'podman is not installed or not in PATH.' },
  DEVICE_PODMAN_FAILED: { kind: 'environment', meaning: 'podman could not be asked about its storage or its containers.' },
});
