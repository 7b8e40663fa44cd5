"""The one truth that training, export and device share: labels, input spec, preprocessing,
quantization, files.
"""
