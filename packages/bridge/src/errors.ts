/** The codes of this package; documented in `docs/errors.md`. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type BridgeErrorCode =
  | 'BRIDGE_LAYER_ENTRY_REFUSED'
  | 'BRIDGE_LAYER_PARENT_REFUSED'
  | 'BRIDGE_LAYER_DIFFID_MISMATCH'
  | 'BRIDGE_LAYER_COMMIT_INVALID'
  | 'BRIDGE_IMAGE_COMMIT_INVALID'
  | 'BRIDGE_LINK_TARGET_MISSING'
  | 'BRIDGE_REFERENCE_INVALID'
  | 'BRIDGE_CONTAINER_INVALID'
  | 'BRIDGE_CONTAINER_CORRUPT'
  | 'BRIDGE_CONTENT_META_INVALID'
  | 'BRIDGE_COMMIT_META_MISSING'
  | 'BRIDGE_LAYERS_TOO_FEW';

export const bridgeError: ErrorFactory<BridgeErrorCode> = defineErrors<BridgeErrorCode>({
  BRIDGE_LAYER_ENTRY_REFUSED: { kind: 'input', meaning: 'A layer holds an entry whose name or type cannot be stored; the message names layer and entry.' },
  BRIDGE_LAYER_PARENT_REFUSED: { kind: 'input', meaning: 'A layer holds an entry below something that the same layer made a file or a link.' },
  BRIDGE_LAYER_DIFFID_MISMATCH: { kind: 'integrity', meaning: 'A layer’s uncompressed content does not have the diffID that the image configuration states.' },
  BRIDGE_LAYER_COMMIT_INVALID: { kind: 'input', meaning: 'A commit under cambium/layers was not written as a layer commit.' },
  BRIDGE_IMAGE_COMMIT_INVALID: { kind: 'input', meaning: 'A commit under cambium/images was not written as an image commit.' },
  BRIDGE_LINK_TARGET_MISSING: { kind: 'input', meaning: 'A hard link of a layer names a file that neither this layer nor those below it hold.' },
  BRIDGE_REFERENCE_INVALID: { kind: 'input', meaning: 'A text is not a reference of `ostree container`, or a ref is not one of its store.' },
  BRIDGE_CONTAINER_INVALID: { kind: 'input', meaning: 'An image is not an OSTree commit in a container, or not in a form that was ever written.' },
  BRIDGE_CONTAINER_CORRUPT: { kind: 'integrity', meaning: 'An object in a layer does not match its checksum, or an image lacks objects of its commit.' },
  BRIDGE_CONTENT_META_INVALID: {
    kind: 'input',
    meaning: 'Content metadata, which says what belongs into which layer, is not valid or does not fit the commit.',
  },
  BRIDGE_COMMIT_META_MISSING: { kind: 'input', meaning: 'Metadata that was to be copied into the image is not in the commit.' },
  BRIDGE_LAYERS_TOO_FEW: { kind: 'usage', meaning: 'A commit cannot be packed into so few layers.' },
});
