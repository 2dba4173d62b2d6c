// An invented referral.
export const referral = t => ({
  schema_version: 'referral/1.0', lang: 'spa', urgency: 'urgent', urgency_reason: 'child_at_risk', involves_minor: 'yes',
  situation: { summary: 'Relato inventado: V1 trabaja en un local sin poder salir.', exploitation_types: ['ForcedLabour'], ongoing: 'ongoing' },
  locations: [{ type: 'Exploitation', ubigeo: '150101', precision: 'district' }],
  victims: [{ ref: 'V1', age_group: 'child_12_17', present_danger: ['child_at_risk'] }],
  consent: { subject: 'V1', state: 'not_required_child', basis: 'child_protection', identity_level: 'pseudonymous' },
  reporter: { relationship: 'witness', anonymous: true },
  hotline_contact: { duty_phone: '+5117000001', operator_ref: 'op-7' },
  requested_action: ['welfare_check'], do_not: ['no_uniformed_visit']
})
