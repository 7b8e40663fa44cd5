/* SPDX-License-Identifier: MIT */
/* Whose a model is: ECDSA on P-256 with SHA-256, checked by mbedtls against the keys of
 * trusted_keys.pem. `python -m export sign model.bin` puts the signatures behind the image. */
#ifndef MODEL_SIGNATURE_H
#define MODEL_SIGNATURE_H

#include <stddef.h>
#include <stdint.h>

/* Where the image at `data` and the signatures behind it end; 0 where no image begins there, or one
 * that does not end within `size`. Nothing but its header's first 20 bytes is read of it. */
size_t model_signature_end(const uint8_t *data, size_t size);

/* NULL where one of the keys has signed the image's header, which holds the SHA-256 of all that
 * follows, or where settings.h asks for no signatures; else why not, in a few words. */
const char *model_signature_refusal(const uint8_t *data, size_t size);

#endif
