/** The codes of this package; documented in `docs/errors.md`. Add a row where a new failure is known. */
import { defineErrors, type ErrorFactory } from '@cambium/base';

export type OciErrorCode =
  | 'OCI_REFERENCE_INVALID'
  | 'OCI_PLACE_INVALID'
  | 'OCI_PLACE_UNSUPPORTED'
  | 'OCI_PLATFORM_INVALID'
  | 'OCI_PLATFORM_MISSING'
  | 'OCI_PLATFORM_MISMATCH'
  | 'OCI_MANIFEST_UNKNOWN'
  | 'OCI_MANIFEST_INVALID'
  | 'OCI_MANIFEST_SCHEMA1'
  | 'OCI_MANIFEST_MISMATCH'
  | 'OCI_CONFIG_INVALID'
  | 'OCI_NOT_AN_IMAGE'
  | 'OCI_DOCUMENT_TOO_LARGE'
  | 'OCI_LAYER_FOREIGN'
  | 'OCI_LAYER_UNSUPPORTED'
  | 'OCI_LAYERS_MISMATCH'
  | 'OCI_BLOB_UNKNOWN'
  | 'OCI_BLOB_MISMATCH'
  | 'OCI_LAYOUT_INVALID'
  | 'OCI_ARCHIVE_INVALID'
  | 'OCI_IMAGE_AMBIGUOUS'
  | 'OCI_AUTH_REQUIRED'
  | 'OCI_AUTH_DENIED'
  | 'OCI_AUTH_FILE_MISSING'
  | 'OCI_AUTH_FILE_INVALID'
  | 'OCI_CREDENTIAL_HELPER_FAILED'
  | 'OCI_RATE_LIMITED'
  | 'OCI_UPLOAD_REFUSED'
  | 'OCI_DELETE_REFUSED'
  | 'OCI_DIGEST_CHANGES'
  | 'OCI_FORMAT_IMPOSSIBLE'
  | 'OCI_REGISTRY_ERROR';

export const ociError: ErrorFactory<OciErrorCode> = defineErrors<OciErrorCode>({
  OCI_REFERENCE_INVALID: { kind: 'input', meaning: 'A text is not an image reference.' },
  OCI_PLACE_INVALID: { kind: 'input', meaning: 'A text does not name a place where an image can be.' },
  OCI_PLACE_UNSUPPORTED: { kind: 'usage', meaning: 'Images of this transport cannot be read directly.' },
  OCI_PLATFORM_INVALID: { kind: 'usage', meaning: 'An architecture or variant is not one that images have.' },
  OCI_PLATFORM_MISSING: { kind: 'not-found', meaning: 'An image index has no image for the platform asked for.' },
  OCI_PLATFORM_MISMATCH: { kind: 'input', meaning: 'An image without an index is for another platform than the one asked for.' },
  OCI_MANIFEST_UNKNOWN: { kind: 'not-found', meaning: 'The registry, layout or archive has no image of this name, tag or digest.' },
  OCI_MANIFEST_INVALID: { kind: 'input', meaning: 'A manifest or index is not valid.' },
  OCI_MANIFEST_SCHEMA1: { kind: 'input', meaning: 'The image has a Docker schema 1 manifest, which cannot be verified and is not supported.' },
  OCI_MANIFEST_MISMATCH: { kind: 'integrity', meaning: 'A manifest or index does not have the digest or size that its reference states.' },
  OCI_CONFIG_INVALID: { kind: 'input', meaning: 'An image configuration is not valid.' },
  OCI_NOT_AN_IMAGE: { kind: 'input', meaning: 'The manifest is of an artifact that is not a container image.' },
  OCI_DOCUMENT_TOO_LARGE: { kind: 'input', meaning: 'A manifest, index or configuration is over the size limit for its kind.' },
  OCI_LAYER_FOREIGN: { kind: 'input', meaning: 'A layer may not be distributed with the image (Windows base layers), so the image cannot be read completely.' },
  OCI_LAYER_UNSUPPORTED: { kind: 'input', meaning: 'A layer has a media type that is not supported, for example an encrypted one.' },
  OCI_LAYERS_MISMATCH: { kind: 'input', meaning: 'Manifest and configuration of an image list different numbers of layers.' },
  OCI_BLOB_UNKNOWN: { kind: 'not-found', meaning: 'A blob that a manifest refers to is not where the image is.' },
  OCI_BLOB_MISMATCH: { kind: 'integrity', meaning: 'A blob does not have the size or digest that its descriptor states.' },
  OCI_LAYOUT_INVALID: { kind: 'input', meaning: 'A directory is not a valid OCI image layout.' },
  OCI_ARCHIVE_INVALID: { kind: 'input', meaning: 'A file is not a valid image archive.' },
  OCI_IMAGE_AMBIGUOUS: { kind: 'usage', meaning: 'A layout or archive holds several images and none was chosen.' },
  OCI_AUTH_REQUIRED: { kind: 'denied', meaning: 'The registry wants a login and no credentials were found.' },
  OCI_AUTH_DENIED: { kind: 'denied', meaning: 'The registry refused the credentials, or access to the image.' },
  OCI_AUTH_FILE_MISSING: { kind: 'not-found', meaning: 'A file with registry credentials that was named does not exist.' },
  OCI_AUTH_FILE_INVALID: { kind: 'input', meaning: 'A file with registry credentials cannot be understood.' },
  OCI_CREDENTIAL_HELPER_FAILED: { kind: 'environment', meaning: 'A credential helper program is missing or failed.' },
  OCI_RATE_LIMITED: { kind: 'network', meaning: 'The registry refuses more requests for now.' },
  OCI_DIGEST_CHANGES: { kind: 'usage', meaning: 'An image was to keep its digest, and cannot at its new place.' },
  OCI_DELETE_REFUSED: { kind: 'denied', meaning: 'The registry does not delete images, or not by tag.' },
  OCI_FORMAT_IMPOSSIBLE: { kind: 'usage', meaning: "An image cannot be written in the format asked for: Docker's knows neither artifacts nor zstd." },
  OCI_UPLOAD_REFUSED: { kind: 'input', meaning: 'The registry does not take a blob or manifest as it is: too large, or not what it expects.' },
  OCI_REGISTRY_ERROR: { kind: 'network', meaning: 'The registry answered with a failure, or with something that makes no sense.' },
});
