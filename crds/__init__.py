"""What may be asked for: the models of all kinds, and the CustomResourceDefinitions generated from them.

Imported by the drivers and controllers for the words of the API; imports none of them.
"""
